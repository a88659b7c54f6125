"""Result rows -> tables, figures, findings and pages."""
