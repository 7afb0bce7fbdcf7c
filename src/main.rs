use std::process::ExitCode;

fn main() -> ExitCode {
    starmill::cli::main()
}
