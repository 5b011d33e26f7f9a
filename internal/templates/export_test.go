package templates

// Limit sets the number of templates that are remembered.
func Limit(t *Templates, n int) { t.categories.most = n }

// Entries returns the number of templates that are remembered.
func Entries(t *Templates) int {
	t.categories.mu.Lock()
	defer t.categories.mu.Unlock()
	return len(t.categories.entries)
}
