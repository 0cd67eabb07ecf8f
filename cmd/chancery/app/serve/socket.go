package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"

	"chancery/engine"
	"chancery/frontends/native"
)

// maxSocketPath is what every system's address of a socket can hold.
const maxSocketPath = 103

// listenSocket opens the local administration, for when nobody has a credential
// that works: whoever owns the data directory may do everything, and each use is
// logged. The store is open, so no other server has the socket.
func (s *Server) listenSocket() (net.Listener, error) {
	path := s.node.Dir.Socket()
	if len(path) > maxSocketPath {
		s.node.Log.Warn("no local administration: the path of the data directory is too long for a socket", "path", path)
		return nil, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Nobody else could have connected before: the directory is its owner's.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

type peerKey struct{}

// withPeer notes who connected, as the operating system says.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uid, err := peerUID(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// breakGlass serves the admin listener's addresses to the owner of the socket
// and to root, with all roles.
func (s *Server) breakGlass(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		uid, ok := ctx.Value(peerKey{}).(int)
		if !ok || uid != 0 && uid != os.Getuid() {
			s.node.Log.WarnContext(ctx, "local administration refused", "uid", uid, "known", ok)
			plain(w, http.StatusForbidden, "only the owner of the data directory may do this\n")
			return
		}
		a := engine.Actor{
			Person: "socket:" + strconv.Itoa(uid), Principal: engine.Principal("socket:" + strconv.Itoa(uid)),
			Roles: engine.Roles, Via: "socket",
		}
		s.node.Log.WarnContext(ctx, "local administration used", "uid", uid, "method", r.Method, "path", fmt.Sprintf("%.200q", r.URL.Path))
		next.ServeHTTP(w, r.WithContext(native.WithActor(ctx, a)))
	})
}
