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

// installationKey names the installation whose workers use the store: a hash.
const installationKey = "sluice:installation"

// The fields of the installation.
const (
	fieldEnvironment = "environment"
	fieldMarkerKey   = "marker_key" // a fingerprint
)

// ErrInstallation means that the store belongs to another installation: its markers would not be read,
// and what they prove would count for nothing.
var ErrInstallation = errors.New("the store belongs to another installation")

// CheckInstallation stores who the installation is at the first start of a worker, and refuses another
// environment or marker key ever after. A store that was used with the second key has the first from
// then on: so the key is changed.
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
		return fmt.Errorf("%w: its environment is %q, the configuration says environment: %s; set environment back, or use another Redis. "+
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
	return fmt.Errorf("%w: its workers had another marker key, with the fingerprint %s, the configured one has %s; set marker_key_file (SLUICE_MARKER_KEY) back, "+
		"give the former key by second_marker_key_file too, or use another Redis. If the former key is lost, stop the workers while no message is in doubt, "+
		"run HDEL %s %s in Redis, and start them", ErrInstallation, storedKey, key, installationKey, fieldMarkerKey)
}

// fingerprint tells keys apart without revealing them.
func fingerprint(key string) string {
	sum := sha256.Sum256([]byte("sluice marker key\x00" + key))
	return hex.EncodeToString(sum[:8])
}
