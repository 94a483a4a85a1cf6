//! The vectors fit their schema, which explains the file to implementers in other languages.

#[test]
fn the_vectors_fit_their_schema() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors");
    let mut schemas = boon::Schemas::new();
    let schema = boon::Compiler::new()
        .compile(&format!("{folder}/schema.json"), &mut schemas)
        .expect("a schema");
    let text = std::fs::read_to_string(format!("{folder}/upcase.json")).expect("the vectors");
    let vectors = serde_json::from_str(&text).expect("JSON");
    if let Err(error) = schemas.validate(&vectors, schema) {
        panic!("{error:#}");
    }
}
