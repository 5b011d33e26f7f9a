package events

// Reads is how many shards this process reads for a group.
func Reads(s *Stream, group string) int { return len(s.readBy(group)) }
