package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

// installationKey identifies the installation whose workers use the store: a hash.
const installationKey = "sluice:installation"

// The fields of the installation.
const (
	fieldEnvironment = "environment"
	fieldMarkerKey   = "marker_key" // a fingerprint
)

// ErrInstallation means that the store belongs to another installation: its markers could not be read, and
// statuses would prove nothing.
var ErrInstallation = errors.New("the store belongs to another installation")

// CheckInstallation stores the environment and the marker key at the first start of a worker, and refuses others
// from then on. If the store has the second key, it stores the first one instead: this is how the key is changed.
func (l *Ledger) CheckInstallation(ctx context.Context, environment, markerKey, secondMarkerKey string) error {
	key := fingerprint(markerKey)
	read := func() (environment, key string, err error) {
		found, err := l.db.HMGet(ctx, installationKey, fieldEnvironment, fieldMarkerKey).Result()
		if err != nil {
			return "", "", fmt.Errorf("check the installation: %w", err)
		}
		return text(found[0]), text(found[1]), nil
	}
	storedEnvironment, storedKey, err := read()
	if err == nil && (storedEnvironment == "" || storedKey == "") {
		err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
			p.HSetNX(ctx, installationKey, fieldEnvironment, environment)
			p.HSetNX(ctx, installationKey, fieldMarkerKey, key)
		})
		if err != nil {
			return fmt.Errorf("store the installation: %w", err)
		}
		storedEnvironment, storedKey, err = read()
	}
	if err != nil {
		return err
	}
	switch {
	case storedEnvironment != environment:
		return fmt.Errorf("%w: its environment is %q, and the configuration says environment: %s. Set environment back, or use another Redis. "+
			"To rename an installation, stop its workers while no message is in doubt, run HDEL %s %s in Redis, and start them",
			ErrInstallation, storedEnvironment, environment, installationKey, fieldEnvironment)
	case storedKey == key:
		return nil
	case secondMarkerKey != "" && storedKey == fingerprint(secondMarkerKey):
		err := l.tx.Do(ctx, 0, store.Change{Slot: installationKey, Decide: func(_ []string, w *store.Writes) error {
			w.HSet(installationKey, fieldMarkerKey, key)
			return nil
		}})
		if err != nil {
			return fmt.Errorf("store the new marker key's fingerprint: %w", err)
		}
		return nil
	}
	return fmt.Errorf("%w: its workers use another marker key. Its fingerprint is %s, and that of the configured key is %s. Set marker_key_file (SLUICE_MARKER_KEY) back, "+
		"add the former key as second_marker_key_file, or use another Redis. If the former key is lost, stop the workers while no message is in doubt, "+
		"run HDEL %s %s in Redis, and start them", ErrInstallation, storedKey, key, installationKey, fieldMarkerKey)
}

// fingerprint returns a hash that distinguishes keys without revealing them.
func fingerprint(key string) string {
	sum := sha256.Sum256([]byte("sluice marker key\x00" + key))
	return hex.EncodeToString(sum[:8])
}
