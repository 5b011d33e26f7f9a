package directory

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// File has the entries of the configuration file of this process.
type File struct {
	Numbers []config.Number
	Tokens  *config.Tokens // the access tokens of the file that this process can read; nil: none
	Apps    []config.App
	APIKeys []config.APIKey
	Clients []config.Client
}

// StoreOptions are the options of a Store.
type StoreOptions struct {
	DB     *store.DB
	Shards message.Shards
	Box    secrets.Box // encrypts the secrets; without a key, secrets are refused
	File   File
	// Unfinished returns how many messages of a number are not final. nil: RemoveNumber returns an error.
	Unfinished func(ctx context.Context, number string) (int, error)
}

// Store changes the stored entries. It is safe for concurrent use.
type Store struct{ o StoreOptions }

// NewStore returns the store of an installation.
func NewStore(o StoreOptions) *Store { return &Store{o} }

var errTODO = errors.New("not implemented")

// CanEncrypt reports whether there is a key to encrypt secrets.
func (s *Store) CanEncrypt() bool { return s.o.Box.HasKey() }

// List reads all entries from Redis, and adds those of the file that no stored entry replaces.
func (s *Store) List(ctx context.Context) (Entries, error) { return Entries{}, errTODO }

// Put stores an entry, with the secrets that are given; other stored secrets of the entry stay. It writes the audit entry in the
// same script. It returns the new revision of the entry. Its error is an *InvalidError, a *ConflictError, or wraps secrets.ErrNoKey
// if there are secrets and no key.
func (s *Store) Put(ctx context.Context, e Entry, given Secrets, c Change) (int64, error) {
	return 0, errTODO
}

// RotateApp sets a new app secret. The stored app secret becomes the previous one, which is accepted until a time (zero: until it
// is removed). Its error is as of Put, or ErrNotFound if no app secret is stored.
func (s *Store) RotateApp(ctx context.Context, name string, secret config.Secret, previousUntil time.Time, c Change) (int64, error) {
	return 0, errTODO
}

// Remove removes an app, an API key or a client, also one of the file: it stays hidden until Put stores it again. A client that
// numbers or keys belong to is not removed. Its error wraps ErrNotFound, or is an *InvalidError or a *ConflictError.
func (s *Store) Remove(ctx context.Context, kind Kind, id string, c Change) error { return errTODO }

// RemoveNumber removes a number, also one of the file: it stays hidden until Put stores it again. backlog is one of BacklogRefuse
// (also when empty), BacklogDrain and BacklogCancel. It returns true if the number is removed now, and false if workers remove it
// when its last message is final. Its error wraps ErrNotFound, or is a *BacklogError, an *InvalidError or a *ConflictError.
func (s *Store) RemoveNumber(ctx context.Context, id, backlog string, c Change) (bool, error) {
	return false, errTODO
}

// Export returns the stored entries as YAML in the form of the configuration file, without secrets.
func (s *Store) Export(ctx context.Context) ([]byte, error) { return nil, errTODO }

// Import stores the entries of a YAML text in the form of the configuration file: all, or none if one is invalid. Stored entries
// that are not in the text stay, and so do the secrets of those that are. name is the name of the text, for errors. The Revision
// of c is ignored. Its error is an *InvalidError with all mistakes, or a *ConflictError.
func (s *Store) Import(ctx context.Context, name string, text []byte, c Change) (Imported, error) {
	return Imported{}, errTODO
}

// Reencrypt encrypts all stored secrets with the first key of the box, and returns how many there are. Then the second key can be
// removed. The Revision of c is ignored.
func (s *Store) Reencrypt(ctx context.Context, c Change) (int, error) { return 0, errTODO }

// Directory is what a process knows of the entries: a snapshot, which Run replaces when a stored entry changed. All methods are
// safe for concurrent use and do not block.
type Directory struct{ log *slog.Logger }
