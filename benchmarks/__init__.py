"""What the library costs, by ratio to what it stands on and to the alternatives."""
