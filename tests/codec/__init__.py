"""The codec: values, events, text."""
