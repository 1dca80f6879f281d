//! Tokens to text: whole UTF-8 characters, and no byte of a stop string.
