"""The store: tables and the SQL behind the ledger, the directory and the inbox."""
