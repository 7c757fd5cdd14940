//! The JSON Schema of config.json, made from the types and the table of ranges. The file
//! config.schema.json is this text; a test compares them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;
use super::ranges::{RANGES, Range, Ranged};

/// The schema as a JSON value.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        // One tree without references, so that a key path leads to its schema.
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    for ranged in &RANGES {
        bound(&mut schema, ranged);
    }
    schema
}

/// The schema as it stands in config.schema.json.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

fn bound(schema: &mut Value, ranged: &Ranged) {
    let keys = ranged.path.split('.');
    let Some(found) = keys.into_iter().try_fold(schema, step).and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(Value::String(description)) = found.get_mut("description") {
        let sentence = description.trim_end_matches('.');
        *description = format!("{sentence} ({}).", ranged.range);
    }
    if let Range::Number(min, max) = ranged.range {
        found.insert("minimum".to_owned(), json!(min));
        found.insert("maximum".to_owned(), json!(max));
    }
}

/// From the schema of an object to that of one of its properties, or of its elements.
fn step<'a>(schema: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let name = key.strip_suffix("[]").unwrap_or(key);
    let property = object(schema)?.get_mut("properties")?.get_mut(name)?;
    if name == key { Some(property) } else { property.get_mut("items") }
}

/// The alternative of a schema that has properties; itself where there is no choice.
fn object(schema: &mut Value) -> Option<&mut Map<String, Value>> {
    if schema.get("properties").is_some() {
        return schema.as_object_mut();
    }
    let choices = schema.get_mut("anyOf")?.as_array_mut()?;
    choices.iter_mut().find_map(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `each` with the path and schema of every property.
    fn properties(schema: &Value, path: &str, each: &mut dyn FnMut(&str, &Value)) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}/{name}");
            each(&path, property);
            properties(property, &path, each);
        }
        for choice in schema["anyOf"].as_array().into_iter().flatten() {
            properties(choice, path, each);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                properties(&schema[inner], path, each);
            }
        }
    }

    #[test]
    fn every_key_has_a_sentence() {
        let mut count = 0;
        properties(&schema(), "", &mut |path, property| {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{path}: {description:?}");
            count += 1;
        });
        assert!(count > 80, "only {count} keys were found");
    }

    #[test]
    fn every_range_is_in_the_schema() {
        let mut schema = schema();
        for ranged in &RANGES {
            let found = ranged.path.split('.').try_fold(&mut schema, step).map(|found| &*found);
            let description = found.and_then(|found| found["description"].as_str());
            let range = format!("({}).", ranged.range);
            assert!(description.is_some_and(|text| text.ends_with(&range)), "{}", ranged.path);
        }
    }

    #[test]
    fn no_object_takes_unknown_keys() {
        let top = schema();
        assert_eq!(top["additionalProperties"], false);
        properties(&top, "", &mut |path, property| {
            if property.get("properties").is_some() {
                assert_eq!(property["additionalProperties"], false, "{path}");
            }
        });
    }
}
