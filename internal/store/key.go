package store

import "sluice/internal/message"

// Key returns the Redis key "sluice:{sNN}:<name>" of a shard. All keys of a shard have its name as
// their Cluster hash tag, so one script or transaction can change all of them.
func Key(s message.Shard, name string) string { return "sluice:{" + s.String() + "}:" + name }
