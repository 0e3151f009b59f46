#!/bin/sh
# The compiler with libFuzzer's counters in our own libraries, for `cargo xtask soak fuzz`. Everything else is compiled
# as ever, and so is shared with the other builds: dependencies, build scripts, and macros, which could not be loaded.
case " $* " in
*" --crate-name tollgate_"*" --crate-type lib "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
    ;;
esac
exec "$@"
