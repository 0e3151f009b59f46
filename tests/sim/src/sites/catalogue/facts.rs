//! What the shop sells: every fact about an item, from its number and the shop's seed alone.

/// Items on sale.
pub const ITEMS: u32 = 280;
/// Categories; an item is in the one of its number's remainder.
pub const CATEGORIES: u32 = 12;

/// What an item's page says, for a test to hold an extraction against.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemFacts {
    /// The page's `h1`.
    pub title: String,
    /// In euros, a multiple of 0.25; the page says `EUR 12.50`.
    pub price: f64,
    /// The stock-keeping unit.
    pub sku: String,
    /// The category's number.
    pub category: u32,
    /// The rows of the table `specs`.
    pub specs: [(&'static str, String); 3],
    /// The paragraphs of the description.
    pub prose: [String; 3],
}

/// The facts of an item. Title, stock-keeping unit and category are the same whatever the seed: another seed is the
/// same shop on another day, with other prices, properties and words. `number` is to be below [`ITEMS`].
pub fn facts(seed: u64, number: u32) -> ItemFacts {
    // Seed 0 leaves the numbers as they are.
    let day = (seed % 9_973) as u32;
    let mixed = number + day * 31;
    ItemFacts {
        title: title(number),
        price: f64::from(5 + mixed * 7 % 200) + f64::from(mixed % 4) * 0.25,
        sku: sku(number),
        category: number % CATEGORIES,
        specs: [
            ("Width", format!("{} cm", 10 + mixed % 90)),
            ("Weight", format!("{} kg", 1 + mixed % 12)),
            ("Colour", ["red", "green", "blue", "oak"][(mixed % 4) as usize].to_owned()),
        ],
        prose: [0, 1, 2].map(|paragraph| prose(mixed, paragraph)),
    }
}

/// The price of an item in the shop of seed 0, in euros.
pub fn price(number: u32) -> f64 {
    facts(0, number).price
}

/// The stock-keeping unit of an item.
pub fn sku(number: u32) -> String {
    format!("SKU-{number:04}")
}

/// The title of an item.
pub fn title(number: u32) -> String {
    let kind = ["Lamp", "Chair", "Kettle", "Shelf", "Clock", "Rug"][(number % 6) as usize];
    format!("{kind} No {number}")
}

pub(super) fn prose(number: u32, paragraph: u32) -> String {
    const SENTENCES: [&str; 6] = [
        "It has stood in many a house and was never in the way.",
        "Whoever sits beside it reads longer than intended.",
        "The makers change nothing about it but the year.",
        "It wants little care: a dry cloth, now and then.",
        "Two people carry it with ease, one with patience.",
        "It is said to sound better after the third winter.",
    ];
    let start = (number * 5 + paragraph * 3) as usize;
    (0..4).map(|at| SENTENCES[(start + at) % SENTENCES.len()]).collect::<Vec<_>>().join(" ")
}
