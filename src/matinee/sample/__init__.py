"""The sample catalogue that ships with the project: 17,470 films, CC0-1.0. ORIGIN.md says where it comes from."""
