module gapless.dev/tests/lab

go 1.26.0
