//! The `lovage` program: everything lives in the library.

fn main() -> std::process::ExitCode {
    lovage::cli::main()
}
