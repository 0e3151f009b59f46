//! Writes the seeds of `stored_rows`: every row of the store that the target begins with, as it is.
//! `cargo run -p tollgate-fuzz --example stored_row_seeds`, after that store was replaced by a newer one.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/stored_rows");
    fs::create_dir_all(&folder)?;
    for (name, seed) in tollgate_fuzz::stored_row_seeds() {
        fs::write(folder.join(&name), seed)?;
        println!("{name}");
    }
    Ok(())
}
