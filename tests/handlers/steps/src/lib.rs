//! A bench handler: four stages in a row that do next to nothing, so that what is measured is the host.

use tollgate_sdk::prelude::*;

/// An item is its number.
#[data]
struct Number {
    number: u64,
}

macro_rules! outputs {
    ($($name:ident)*) => {$(
        #[doc = concat!("What stage `", stringify!($name), "` made of the number.")]
        #[output]
        #[derive(Debug, PartialEq)]
        struct $name {
            number: u64,
        }
    )*};
}

outputs!(One Two Three Four);

/// Takes the item's number.
#[stage]
fn one(item: &Number) -> Result<One> {
    Ok(One { number: item.number })
}

/// Adds one.
#[stage]
fn two(before: One) -> Result<Two> {
    Ok(Two { number: before.number + 1 })
}

/// Adds one.
#[stage]
fn three(before: Two) -> Result<Three> {
    Ok(Three { number: before.number + 1 })
}

/// Adds one.
#[stage]
fn four(before: Three) -> Result<Four> {
    Ok(Four { number: before.number + 1 })
}

handler!(stages: [one, two, three, four]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_takes_what_the_one_before_made() {
        let made = one(&Number { number: 1 }).and_then(two).and_then(three).and_then(four);
        assert_eq!(made.unwrap(), Four { number: 4 });
    }
}
