"""What people look at: console tables, figures, contact sheets, evidence."""
