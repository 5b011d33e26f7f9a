package fleet

// Forget makes the next Read read the store.
func Forget(f *Fleet) { f.last = State{} }
