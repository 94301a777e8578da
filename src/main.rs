//! The `busway` binary.

fn main() -> std::process::ExitCode {
    busway::app::main()
}
