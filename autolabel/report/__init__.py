"""Reports that people look at: self-contained HTML, plots and poses drawn on their images."""
