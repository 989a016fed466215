"""The public listener: what readers, visitors of a form and reps reach. It records and asks; the stages act."""
