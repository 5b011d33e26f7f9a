package templates

// Entries returns the number of templates that are remembered.
func Entries(t *Templates) int {
	t.categories.mu.Lock()
	defer t.categories.mu.Unlock()
	return len(t.categories.entries)
}
