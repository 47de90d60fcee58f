"""The workers, one module each, which has its worker as `WORKER`."""
