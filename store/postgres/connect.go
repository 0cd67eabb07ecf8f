package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"chancery/store"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// oldest is the oldest server that is accepted, as server_version_num says it.
const oldest = 140000

// statementTimeout is the server's bound for one statement. All of ours read or
// write a few rows by key.
const statementTimeout = 30 * time.Second

// ownSchema is where tables lie unless the dsn names another.
const ownSchema = "chancery"

// ErrRefused is in the error of Open for a server that cannot be used as it is.
var ErrRefused = errors.New("store: the database server cannot be used")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// configure makes of a dsn what every connection gets.
func configure(dsn string) (conf *pgxpool.Config, schema string, err error) {
	conf, err = pgxpool.ParseConfig(dsn)
	if err != nil { // pgx leaves the password out of it
		return nil, "", fmt.Errorf("the address of the database (dsn): %w", err)
	}
	p := conf.ConnConfig.RuntimeParams
	schema, _, _ = strings.Cut(p["search_path"], ",")
	if schema = strings.Trim(strings.TrimSpace(schema), `"`); schema == "" {
		schema = ownSchema
	}
	if p["application_name"] == "" {
		p["application_name"] = "chancery"
	}
	for name, value := range map[string]string{
		"search_path": quote(schema),
		// An Update without reads is one implicit transaction.
		"default_transaction_isolation": "serializable",
		// A node that died, or hangs, must not hold the others up for long.
		"statement_timeout":                   ms(statementTimeout),
		"idle_in_transaction_session_timeout": ms(statementTimeout),
		"tcp_keepalives_idle":                 "10",
		"tcp_keepalives_interval":             "5",
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    ms(25 * time.Second),
		// All statements go by key, in order of keys. What else a planner may
		// think of, without statistics or with old ones, reads whole tables, and
		// a SERIALIZABLE transaction that did so would conflict with everybody.
		"plan_cache_mode":   "force_generic_plan",
		"enable_seqscan":    "off",
		"enable_bitmapscan": "off",
		"enable_sort":       "off",
		"jit":               "off",
	} {
		p[name] = value
	}
	if conf.ConnConfig.ConnectTimeout == 0 || conf.ConnConfig.ConnectTimeout > time.Minute {
		conf.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if conf.ConnConfig.ValidateConnect == nil { // no target_session_attrs
		conf.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		conf.MaxConns = int32(min(max(4*runtime.GOMAXPROCS(0), 8), 32))
	}
	conf.MaxConnLifetimeJitter = conf.MaxConnLifetime / 5
	conf.PingTimeout = conf.ConnConfig.ConnectTimeout
	return conf, schema, nil
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// connect makes one connection outside the pool.
func connect(ctx context.Context, conf *pgxpool.Config) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, conf.ConnConfig)
	if err != nil {
		return nil, explain(err)
	}
	return conn, nil
}

// explain says what to do about a server that does not let us in.
func explain(err error) error {
	if strings.Contains(err.Error(), "read only connection") {
		return refused("it is a read-only standby, or default_transaction_read_only is on: name the primary, or all servers (host=a,b), in the dsn: %v", err)
	}
	return fmt.Errorf("connecting to the database: %w", err)
}

// settings are what a server says of itself.
type settings struct {
	version                                   int
	fsync, pages, commit, encoding, isolation string
	standby                                   bool
}

// inspect refuses a server that would lose what it has acknowledged, or cannot
// do what we need, and says which server it is.
func inspect(ctx context.Context, conn *pgx.Conn, allowUnsafe bool) (is server, err error) {
	var s settings
	if err := conn.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('fsync'),
		current_setting('full_page_writes'), current_setting('synchronous_commit'), current_setting('server_encoding'),
		current_setting('default_transaction_isolation'), pg_is_in_recovery(),
		(select system_identifier::text from pg_control_system()), pg_postmaster_start_time()::text`,
	).Scan(&s.version, &s.fsync, &s.pages, &s.commit, &s.encoding, &s.isolation, &s.standby, &is.system, &is.started); err != nil {
		return is, fmt.Errorf("asking the database server for its settings: %w", err)
	}
	is.lax = s.commit == "off"
	return is, s.check(allowUnsafe)
}

// check says what is wrong, and what to do about it.
func (s *settings) check(allowUnsafe bool) error {
	switch {
	case s.version < oldest:
		return refused("it is PostgreSQL %d: upgrade it to %d or newer", s.version/10000, oldest/10000)
	case s.standby:
		return refused("it is a standby, which cannot be written: name the primary, or all servers (host=a,b), in the dsn")
	case s.fsync != "on":
		return refused("fsync=%s: a crash of the machine would destroy the database. Set fsync = on in postgresql.conf and reload", s.fsync)
	case s.pages != "on":
		return refused("full_page_writes=%s: a crash of the machine would leave torn pages. Set full_page_writes = on in postgresql.conf and reload", s.pages)
	case s.commit == "off" && !allowUnsafe:
		return refused("synchronous_commit=off: a crash of the server would lose certificates and revocations that were acknowledged. Set synchronous_commit = on (for the server, or by ALTER DATABASE or ALTER ROLE), or accept it: store.postgres.durability: %q", UnsafeWords)
	case s.encoding != "UTF8":
		return refused("the database has the encoding %s: make one with: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0", s.encoding)
	case s.isolation != "serializable":
		return refused("something between here and it drops settings of the session: connect to it directly, or by a pooler in session mode that passes startup parameters")
	}
	return nil
}

// UnsafeWords are the words by which an administrator accepts that a crash of
// the server may lose what it acknowledged last (Options.AllowUnsafe).
const UnsafeWords = "a crash may lose the last commits"

// welcome returns what a new connection of the pool goes through.
func (d *DB) welcome(schemas []store.Schema) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		s, err := inspect(ctx, conn, d.o.AllowUnsafe)
		if err != nil {
			return err
		}
		if err := d.join(ctx, conn, schemas); err != nil {
			return err
		}
		conn.PgConn().CustomData()[sessionKey] = newSession(conn.PgConn(), s, d.stmts)
		return nil
	}
}
