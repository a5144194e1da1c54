"""How each kind of kernel becomes loops. A schedule may choose tiles and tasks, never an order."""
