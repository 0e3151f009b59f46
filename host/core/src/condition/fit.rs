//! Holds a condition against the schemas of what it names: fields that aren't there, and kinds that can't be compared.
//! What a schema leaves open is left to each item.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators},
};
use serde_json::Value;

use crate::{contract::follow, spec::diagnostic::did_you_mean};

/// Why a condition can't hold for any item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Misfit {
    /// What is wrong.
    pub message: String,
    /// What to do, where it is known.
    pub help: Option<String>,
}

/// The names that an expression takes from outside: those of its own loops (`list.exists(x, …)`) aren't among them.
pub(super) fn names(expression: &IdedExpr) -> Vec<String> {
    let mut walk = Walk { schema_of: &|_| None, scope: Vec::new(), names: Vec::new() };
    // With nothing known of any name, nothing can be wrong.
    drop(walk.kind(expression));
    walk.names.sort();
    walk.names.dedup();
    walk.names
}

/// Whether it can be true or false at all. `schema_of` gives the schema of a name, where one is known.
pub(super) fn check<'a>(expression: &IdedExpr, schema_of: &dyn Fn(&str) -> Option<&'a Value>) -> Result<(), Misfit> {
    let kind = Walk { schema_of, scope: Vec::new(), names: Vec::new() }.kind(expression)?;
    if kind.may_be(&Kind::Bool) {
        return Ok(());
    }
    Err(misfit(format!("it is {}, and neither true nor false", kind.word()), Some("compare it with something")))
}

fn misfit(message: String, help: Option<&str>) -> Misfit {
    Misfit { message, help: help.map(ToOwned::to_owned) }
}

/// What a part of an expression gives.
#[derive(Clone)]
enum Kind<'a> {
    /// Not known before an item is there.
    Any,
    Null,
    Bool,
    Number,
    Text,
    List(Option<Shape<'a>>),
    Object(Option<Shape<'a>>),
}

/// A schema, and the one that its references are about.
#[derive(Clone, Copy)]
struct Shape<'a> {
    schema: &'a Value,
    root: &'a Value,
}

impl<'a> Shape<'a> {
    fn kind(self) -> Kind<'a> {
        let shape = Self { schema: follow(self.schema, self.root), root: self.root };
        let mut types: Vec<&str> = match shape.schema.get("type") {
            Some(Value::String(only)) => vec![only],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return Kind::Any,
        };
        // What may be absent is of its kind where it is there.
        types.retain(|word| *word != "null");
        match types.as_slice() {
            ["boolean"] => Kind::Bool,
            ["integer" | "number"] => Kind::Number,
            ["string"] => Kind::Text,
            ["array"] => Kind::List(Some(shape)),
            ["object"] => Kind::Object(Some(shape)),
            [] => Kind::Null,
            _ => Kind::Any,
        }
    }

    /// The kind of an object's field; an error where the schema has fields, and not this one.
    fn field(self, field: &str) -> Result<Kind<'a>, Vec<&'a str>> {
        let of = |schema| Self { schema, root: self.root }.kind();
        let properties = self.schema.get("properties").and_then(Value::as_object);
        if let Some(found) = properties.and_then(|properties| properties.get(field)) {
            return Ok(of(found));
        }
        let others = ["patternProperties", "allOf", "anyOf", "oneOf", "if", "$ref", "unevaluatedProperties"];
        match (self.schema.get("additionalProperties"), properties) {
            (Some(schema @ Value::Object(_)), _) => Ok(of(schema)),
            (Some(Value::Bool(true)), _) => Ok(Kind::Any),
            (_, Some(known)) if others.iter().all(|key| self.schema.get(key).is_none()) => {
                Err(known.keys().map(String::as_str).collect())
            }
            _ => Ok(Kind::Any),
        }
    }

    fn items(self) -> Kind<'a> {
        self.schema.get("items").map_or(Kind::Any, |schema| Self { schema, root: self.root }.kind())
    }
}

impl Kind<'_> {
    fn word(&self) -> &'static str {
        match self {
            Self::Any => "something",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    fn may_be(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Any, _) | (_, Self::Any))
            || std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

struct Walk<'a, 's> {
    schema_of: &'s dyn Fn(&str) -> Option<&'a Value>,
    /// Names of loops, the innermost last.
    scope: Vec<(String, Kind<'a>)>,
    /// Names taken from outside.
    names: Vec<String>,
}

impl<'a> Walk<'a, '_> {
    fn kind(&mut self, expression: &IdedExpr) -> Result<Kind<'a>, Misfit> {
        match &expression.expr {
            Expr::Ident(name) => Ok(self.ident(name)),
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Kind::Bool,
                LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Number,
                LiteralValue::String(_) => Kind::Text,
                LiteralValue::Null => Kind::Null,
                LiteralValue::Bytes(_) => Kind::Any,
            }),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.kind(element).map(drop))?;
                Ok(Kind::List(None))
            }
            Expr::Map(map) => {
                map.entries.iter().try_for_each(|entry| self.entry(&entry.expr))?;
                Ok(Kind::Object(None))
            }
            Expr::Struct(object) => {
                object.entries.iter().try_for_each(|entry| self.entry(&entry.expr))?;
                Ok(Kind::Any)
            }
            Expr::Unspecified => Ok(Kind::Any),
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), Misfit> {
        match entry {
            EntryExpr::StructField(field) => self.kind(&field.value).map(drop),
            EntryExpr::MapEntry(entry) => {
                self.kind(&entry.key)?;
                self.kind(&entry.value).map(drop)
            }
        }
    }

    fn ident(&mut self, name: &str) -> Kind<'a> {
        if let Some((_, kind)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return kind.clone();
        }
        if name.starts_with('@') {
            return Kind::Any;
        }
        self.names.push(name.to_owned());
        (self.schema_of)(name).map_or(Kind::Any, |schema| Shape { schema, root: schema }.kind())
    }

    /// `operand.field`, and `has(operand.field)`.
    fn select(&mut self, select: &SelectExpr) -> Result<Kind<'a>, Misfit> {
        let SelectExpr { operand, field, test } = select;
        let found = match self.kind(operand)? {
            Kind::Object(Some(shape)) => shape.field(field).map_err(|known| Misfit {
                message: format!("{} has no field `{field}`", text_of(operand)),
                help: Some(did_you_mean(field, &known, "its fields are")),
            })?,
            Kind::Any | Kind::Object(None) => Kind::Any,
            other => {
                let message = format!("{} is {}, which has no field `{field}`", text_of(operand), other.word());
                return Err(misfit(message, None));
            }
        };
        Ok(if *test { Kind::Bool } else { found })
    }

    fn call(&mut self, call: &CallExpr) -> Result<Kind<'a>, Misfit> {
        let mut kinds = Vec::with_capacity(call.args.len() + 1);
        for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
            kinds.push(self.kind(part)?);
        }
        match (call.func_name.as_str(), kinds.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, _) => {
                match kinds.iter().find(|kind| !kind.may_be(&Kind::Bool)) {
                    Some(other) => Err(misfit(
                        format!("{} stands where something true or false must", other.word()),
                        Some("compare it with something"),
                    )),
                    None => Ok(Kind::Bool),
                }
            }
            (operators::CONDITIONAL, [_, one, other]) => Ok(if one.may_be(other) { one.clone() } else { Kind::Any }),
            (operators::EQUALS | operators::NOT_EQUALS, [one, other]) => {
                let is_null = matches!(one, Kind::Null) || matches!(other, Kind::Null);
                if is_null || one.may_be(other) { Ok(Kind::Bool) } else { Err(unlike(one, other)) }
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [one, other],
            ) => match kinds.iter().find(|kind| matches!(kind, Kind::Null | Kind::List(_) | Kind::Object(_))) {
                Some(unordered) => {
                    Err(misfit(format!("{} is neither less nor greater than anything", unordered.word()), None))
                }
                None if one.may_be(other) => Ok(Kind::Bool),
                None => Err(unlike(one, other)),
            },
            (operators::IN, [_, Kind::Any | Kind::List(_) | Kind::Object(_)]) => Ok(Kind::Bool),
            (operators::IN, [_, other]) => {
                Err(misfit(format!("`in` wants a list, and this is {}", other.word()), None))
            }
            (operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE, [one, other]) => {
                // Times and spans of time add up too, so only what is the same on both sides is known.
                Ok(if one.may_be(other) { one.clone() } else { Kind::Any })
            }
            (operators::INDEX, [Kind::List(Some(shape)), _]) => Ok(shape.items()),
            (operators::NEGATE | operators::MODULO | "size" | "int" | "uint" | "double", _) => Ok(Kind::Number),
            ("contains" | "startsWith" | "endsWith" | "matches", _) => Ok(Kind::Bool),
            ("string", _) => Ok(Kind::Text),
            _ => Ok(Kind::Any),
        }
    }

    /// `list.exists(x, …)` and its kin.
    fn comprehension(&mut self, of: &ComprehensionExpr) -> Result<Kind<'a>, Misfit> {
        let each = match self.kind(&of.iter_range)? {
            Kind::List(Some(shape)) if of.iter_var2.is_none() => shape.items(),
            _ => Kind::Any,
        };
        let gathered = self.kind(&of.accu_init)?;
        let outer = self.scope.len();
        self.scope.push((of.iter_var.clone(), each));
        self.scope.extend(of.iter_var2.iter().map(|name| (name.clone(), Kind::Any)));
        self.scope.push((of.accu_var.clone(), gathered));
        let inner = self.kind(&of.loop_cond).and_then(|_| self.kind(&of.loop_step)).and_then(|_| self.kind(&of.result));
        self.scope.truncate(outer);
        inner
    }
}

fn unlike(one: &Kind<'_>, other: &Kind<'_>) -> Misfit {
    misfit(format!("{} is compared with {}", one.word(), other.word()), None)
}

/// A name with its fields, as it was written; another expression is just that.
fn text_of(expression: &IdedExpr) -> String {
    match &expression.expr {
        Expr::Ident(name) => format!("`{name}`"),
        Expr::Select(select) => format!("{}.{}`", text_of(&select.operand).trim_end_matches('`'), select.field),
        _ => "the expression".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::condition::Condition;

    fn offer() -> Value {
        json!({"type": "object", "required": ["title"], "properties": {
            "title": {"type": "string"}, "price": {"type": ["number", "null"]}, "sold": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "shop": {"$ref": "#/$defs/Shop"},
            "specs": {"type": "object", "additionalProperties": {"type": "string"}},
        }, "$defs": {"Shop": {"type": "object", "properties": {"name": {"type": "string"}}}}})
    }

    fn said(source: &str) -> Option<Misfit> {
        let offer = offer();
        let schema_of = |name: &str| (name == "offer").then_some(&offer);
        Condition::parse(source).unwrap().check(&schema_of).err()
    }

    #[test]
    fn what_can_hold_is_taken() {
        for source in [
            "offer.price >= 100 || offer.price < 2.0",
            "offer.price != null && offer.price > 1",
            "has(offer.price) && !offer.sold",
            "data.anything.at.all == 3",
            "offer.tags.exists(tag, tag == \"new\")",
            "\"new\" in offer.tags && offer.tags.size() > 1",
            "offer.shop.name.startsWith(\"A\")",
            "offer.specs.Width == \"3 cm\"",
            "offer.tags.filter(tag, tag != \"old\").size() > 0",
            "offer.sold ? offer.price > 2 : data.wanted",
            "data.wanted",
        ] {
            assert_eq!(said(source), None, "{source}");
        }
    }

    #[test]
    fn what_can_not_hold_is_refused_with_the_reason() {
        for (source, message) in [
            ("offer.prise > 1", "`offer` has no field `prise`"),
            ("has(offer.prise)", "`offer` has no field `prise`"),
            ("offer.shop.nmae == \"A\"", "`offer.shop` has no field `nmae`"),
            ("offer.title > 1", "a text is compared with a number"),
            ("offer.title == true", "a text is compared with true or false"),
            ("offer.price", "it is a number, and neither true nor false"),
            ("offer.tags.map(tag, tag)", "it is a list, and neither true nor false"),
            ("offer.sold && offer.title", "a text stands where something true or false must"),
            ("offer.title.length > 3", "`offer.title` is a text, which has no field `length`"),
            ("offer.tags > 3", "a list is neither less nor greater than anything"),
            ("offer.tags.exists(tag, tag == 3)", "a text is compared with a number"),
            ("3 in offer.title", "`in` wants a list, and this is a text"),
        ] {
            assert_eq!(said(source).map(|misfit| misfit.message).as_deref(), Some(message), "{source}");
        }
        assert_eq!(
            said("offer.prise > 1").unwrap().help.as_deref(),
            Some("did you mean `price`? its fields are price, shop, sold, specs, tags, title")
        );
    }

    #[test]
    fn names_of_loops_are_no_names_from_outside() {
        let names = |source| Condition::parse(source).unwrap().names();
        assert_eq!(names("offer.tags.exists(tag, tag == data.tag)"), ["data", "offer"]);
    }
}
