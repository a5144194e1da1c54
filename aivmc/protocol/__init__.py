"""``aivm-exec 1``: executions by fixed steps, and receipts of them. Imports no compiler."""
