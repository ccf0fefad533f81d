"""Where samples come from: files that are played back, and the generated DuRi system of the demo."""
