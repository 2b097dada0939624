//! Compiles the schema without a system `protoc`, and derives from it the table
//! by which elements are counted before anything is decoded.

use std::{collections::HashMap, env, error::Error, fmt::Write as _, fs, path::PathBuf};

use protox::prost_reflect::{DescriptorPool, Kind};

const FILES: [&str; 4] = [
    "magpie/v1/frame.proto",
    "magpie/v1/log.proto",
    "magpie/v1/request.proto",
    "magpie/v1/session.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let schema = protox::compile(FILES, ["proto"])?;
    let pool = DescriptorPool::from_file_descriptor_set(schema.clone())?;
    let table = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("elements.rs");
    fs::write(table, element_table(&pool)?)?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(schema)?;
    Ok(())
}

/// For each message of the schema, which of its fields are messages themselves,
/// and which.
fn element_table(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let index: HashMap<String, usize> = pool
        .all_messages()
        .enumerate()
        .map(|(index, message)| (message.full_name().to_owned(), index))
        .collect();
    let mut rows = String::new();
    for message in pool.all_messages() {
        write!(rows, "    &[")?;
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                let inner = index.get(inner.full_name()).ok_or("unknown message")?;
                write!(rows, "({}, {inner}), ", field.number())?;
            }
        }
        writeln!(rows, "], // {}", message.name())?;
    }
    let of = |name: &str| index.get(name).ok_or("no such message").copied();
    Ok(format!(
        "pub(super) const CLIENT_FRAME: usize = {};\n\
         pub(super) const SERVER_FRAME: usize = {};\n\
         static SUB_MESSAGES: [&[(u32, usize)]; {}] = [\n{rows}];\n",
        of("magpie.v1.ClientFrame")?,
        of("magpie.v1.ServerFrame")?,
        index.len(),
    ))
}
