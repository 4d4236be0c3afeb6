"""What people read: one report per deployment, as JSON, text, Markdown and one HTML file."""
