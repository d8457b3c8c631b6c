# The few commands; `just --list` shows them. CONTRIBUTING.md says what they do without just.

# The main job on the local cloud
demo *options:
    cargo run -- demo {{options}}

# All tests
test:
    cargo test --workspace

# Unit tests by name: just unit gate::
unit name:
    cargo test --workspace --lib {{name}}

# End-to-end tests by name: just e2e turns::
e2e name:
    cargo build --workspace
    cargo test --workspace --test end_to_end -- {{name}}

# Formatting, clippy, and the papers
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    python3 .ci/papers.py

# The gate
ci:
    bash .ci/run

# Write anew what each session may do; read the difference
bless:
    cargo build --workspace
    CROSSPILOT_BLESS=1 cargo test --workspace --test end_to_end -- sessions::
    git diff --stat
