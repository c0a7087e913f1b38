"""From the microphone to frames, wake words and speech."""
