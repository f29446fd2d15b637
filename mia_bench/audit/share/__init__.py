"""How much of a data owner's set was used."""
