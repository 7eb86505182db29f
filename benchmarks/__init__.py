"""The figures mrkernel is judged by; ``python -m benchmarks`` measures them. See README.md."""
