//! The JSON Schema of trees.

/// The JSON Schema (draft-07) of `ivr.json`, as far as a schema can say what a tree is: an editor
/// completes and explains by it. What it can't say, `dtmfd check` does.
pub const SCHEMA: &str = include_str!("ivr.schema.json");

#[cfg(test)]
mod tests {
    use jsonschema::Validator;
    use serde_json::{Value, json};

    use super::*;
    use crate::tree::tests::{BAD, EVERYTHING, SHIPPED, bad_file, tree};
    use crate::tree::{SAMPLE, code, load};

    /// What a schema can't say: it knows no names, no order and no numbers beside each other, sees one of
    /// two equal keys, and warns of nothing.
    const BEYOND: [&str; 17] = [
        code::DUPLICATE_KEY,
        code::MISSING_ROOT,
        code::MISSING_TARGET,
        code::OVERLAPPING_CHOICES,
        code::SHADOWED_CHOICE,
        code::MIN_OVER_MAX,
        code::EMPTY_COLLECT,
        code::UNKNOWN_NAME,
        code::TOO_MANY_NODES,
        code::TOO_LARGE,
        code::FAILING_TEST,
        code::AMBIGUOUS_PREFIX,
        code::UNREACHABLE_NODE,
        code::ONLY_WAITING,
        code::NEVER_SATISFIED,
        code::ODD_TIMEOUT,
        code::ABCD_KEYS,
    ];

    fn schema() -> Validator {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::draft7::meta::validate(&schema).unwrap();
        jsonschema::draft7::new(&schema).unwrap()
    }

    fn errors(schema: &Validator, text: &str) -> Vec<String> {
        let tree: Value = serde_json::from_str(text).unwrap();
        schema.iter_errors(&tree).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn takes_every_good_tree_of_the_repository() {
        let schema = schema();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut trees: Vec<String> = files
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        trees.extend([SHIPPED, EVERYTHING, SAMPLE].map(str::to_owned));
        for text in trees {
            assert!(load(&text).ivr.is_some(), "{text}");
            assert_eq!(Vec::<String>::new(), errors(&schema, &text), "{text}");
        }
    }

    #[test]
    fn refuses_every_bad_tree_as_far_as_a_schema_can() {
        let schema = schema();
        for (code, ..) in BAD.iter().filter(|(code, ..)| *code != code::NOT_JSON) {
            let errors = errors(&schema, &bad_file(code).text);
            assert_eq!(BEYOND.contains(code), errors.is_empty(), "{code}: {errors:#?}");
        }
    }

    #[test]
    fn agrees_with_the_reader_on_each_node() {
        let schema = schema();
        for (node, is_good) in [
            (r#""outcome": "x""#, true),
            (r#""isTerminal": true"#, true),
            (r#""ISTERMINAL": true, "nextnode": "b""#, true),
            (r#""AllowedDigits": ["1", "X"], "NextNode": "b", "IsTerminal": false"#, true),
            (r#""allowedDigits": ["1"], "isTerminal": true"#, true),
            (r#""allowedDigits": null, "nextNode": "", "isTerminal": true"#, true),
            (r#""allowedDigits": [], "outcome": "x""#, true),
            (r#""collect": {}, "nextNode": "@back""#, true),
            (r#""collect": {}, "outcome": "x", "nextNode": """#, true),
            (r#""collect": {"range": ["0", 12], "pattern": ["1X", "[1-35]A"]}, "outcome": "x""#, true),
            (r#""choices": {"$1": 5, "[*#A]Z": "@root"}, "isTerminal": false, "nextNode": """#, true),
            (
                r#""choices": {"1": "b"}, "noMatch": "ignore", "noInput": {"$why": 1, "tries": 2}, "mask": 3"#,
                true,
            ),
            (r#""outcome": "x", "set": {"a": "{{}} {keys}", "$b": 1}"#, true),
            ("", false),
            (r#""label": "x""#, false),
            (r#""nextNode": "b""#, false),
            (r#""isTerminal": false"#, false),
            (r#""collect": {}"#, false),
            (r#""collect": {}, "nextNode": """#, false),
            (r#""allowedDigits": ["1"]"#, false),
            (r#""allowedDigits": ["1"], "collect": {}, "outcome": "x""#, false),
            (r#""choices": {"1": "b"}, "collect": {}"#, false),
            (r#""choices": {"1": "b"}, "outcome": "x""#, false),
            (r#""choices": {"1": "b"}, "ALLOWEDDIGITS": ["1"]"#, false),
            (r#""choices": {"1": "b"}, "NextNode": "b""#, false),
            (r#""choices": {"1": {"nextNode": "b", "outcome": "x"}}"#, false),
            (r#""choices": {"1": {"label": "x"}}"#, false),
            (r#""choices": {"1": "@up"}"#, false),
            (r#""choices": {"x": "b"}"#, false),
            (r#""choices": {"[1": "b"}"#, false),
            (r#""choices": {"": "b"}"#, false),
            (r#""choices": {"1": ""}"#, false),
            (r#""outcome": "x", "Outcome": "y""#, false),
            (r#""outcome": """#, false),
            (r#""outcome": "x", "nextNode": "b""#, false),
            (r#""outcome": "x", "endKey": "12""#, false),
            (r#""outcome": "x", "set": {"a": "{digits"}"#, false),
            (r#""outcome": "x", "noInput": {"nextNode": "b", "outcome": "x"}"#, false),
            (r#""outcome": "x", "noMatch": "drop""#, false),
            (r#""outcome": "x", "firstDigitMs": 604800001"#, false),
            (r#""collect": {"range": [1]}, "outcome": "x""#, false),
            (r#""collect": {"max": 33}, "outcome": "x""#, false),
            (r#""collect": {"as": "keys"}, "outcome": "x""#, false),
        ] {
            let text = tree(&format!("{{\"a\": {{{node}}}, \"b\": {{\"outcome\": \"y\"}}}}"), "");
            assert_eq!(is_good, load(&text).ivr.is_some(), "the reader: {node}");
            let errors = errors(&schema, &text);
            assert_eq!(is_good, errors.is_empty(), "{node}: {errors:#?}");
        }
    }

    #[test]
    fn explains_everything_that_an_editor_can_complete() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut names = Vec::new();
        check_described(&schema, &schema, &mut names);
        // Each key that the reader knows.
        for key in
            ["rootNode", "isTerminal", "decideMs", "cancelKey", "hangup", "bounceMs", "within", "globalKeys"]
        {
            assert!(names.iter().any(|name| name == key), "{key}");
        }
        assert!(names.len() > 60, "{}", names.len());
        assert_eq!(json!("http://json-schema.org/draft-07/schema#"), schema["$schema"]);
    }

    /// Every property is described where it stands, or where it refers to.
    fn check_described(schema: &Value, part: &Value, names: &mut Vec<String>) {
        if let Some(properties) = part.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let described = match property.get("$ref").and_then(Value::as_str) {
                    Some(reference) => {
                        schema.pointer(reference.trim_start_matches('#')).expect("it is defined")
                    }
                    None => property,
                };
                assert!(described["description"].as_str().is_some_and(|text| text.len() > 10), "{name}");
                names.push(name.clone());
            }
        }
        match part {
            Value::Object(parts) => parts.values().for_each(|part| check_described(schema, part, names)),
            Value::Array(parts) => parts.iter().for_each(|part| check_described(schema, part, names)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }
}
