"""What a run leaves behind: its metrics file, its summary, its pictures. Reports read files, never live objects."""
