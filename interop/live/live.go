// Package live builds the chancery binary and runs it as a person would: with a
// configuration file, until it says that it is ready, and with a signal to stop.
package live

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles the command into dir and returns the path of the binary. It
// is the release build but for the tags.
func Build(dir string, tags ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "chancery")
	if len(tags) > 0 {
		bin += "-" + strings.Join(tags, "-")
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", strings.Join(tags, ","), "-ldflags", "-X main.version=test", "-o", bin, "./cmd/chancery")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return bin, nil
}

// Root is the folder of go.mod, at or above the working folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod at or above the working folder")
		}
		dir = up
	}
	return "", err
}

// Ports finds n ports free on loopback, below those that the kernel hands out
// for outgoing connections, so that they stay free for a while.
func Ports(n int) ([]int, error) {
	var ports []int
	var hold []net.Listener
	defer func() {
		for _, l := range hold {
			_ = l.Close()
		}
	}()
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		p := 12000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		hold = append(hold, l)
		ports = append(ports, p)
	}
	return nil, errors.New("no free ports on loopback")
}

// A Server is a running "chancery serve".
type Server struct {
	HTTPS, HTTP, Admin string // addresses, host:port
	PID                int

	cmd  *exec.Cmd
	out  *log
	done chan struct{} // closed when the process has ended
	err  error         // how it ended
}

// Settings say how to start a server.
type Settings struct {
	Binary string
	Args   []string // after "serve"
	Env    []string // added to the environment
	Within time.Duration

	Under []string      // a command with arguments that runs the binary, such as strace
	Kill  time.Duration // after that, counted from the start of the process, it gets SIGKILL; 0: never
}

var ready = regexp.MustCompile(`(?m)^ready https=(\S+) http=(\S+) admin=(\S+)$`)

// Start runs "chancery serve" and waits for its line that it is ready. With the
// error of a process that ended before comes the server, to see how it ended.
func Start(set Settings) (*Server, error) {
	line := append(append(set.Under[:len(set.Under):len(set.Under)], set.Binary, "serve"), set.Args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(CleanEnv(), set.Env...)
	s := &Server{cmd: cmd, out: newLog(), done: make(chan struct{})}
	pipe, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.PID = cmd.Process.Pid
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.out.readFrom(pipe)
	}()
	go func() {
		s.err = cmd.Wait()
		_ = w.Close()
		<-read
		close(s.done)
	}()
	if set.Within == 0 {
		set.Within = 30 * time.Second
	}
	if set.Kill > 0 {
		time.AfterFunc(set.Kill, func() { _ = cmd.Process.Kill() })
	}
	said := s.out.wait(ready)
	select {
	case m := <-said:
		s.HTTPS, s.HTTP, s.Admin = m[1], m[2], m[3]
		return s, nil
	case <-s.done:
		return s, fmt.Errorf("%s ended before it was ready: %v\n%s", cmd, s.err, s.Log())
	case <-time.After(set.Within):
		_ = s.Kill()
		return nil, fmt.Errorf("%s was not ready within %s\n%s", cmd, set.Within, s.Log())
	}
}

// Log is everything that the server wrote so far, stdout and stderr.
func (s *Server) Log() string { return s.out.String() }

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says how the process ended; only after Done.
func (s *Server) Err() error { return s.err }

// Signal sends the process a signal.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Stop ends the server with SIGTERM. It is an error if it does not end by
// itself with exit code 0.
func (s *Server) Stop() error {
	if err := s.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
		return s.err
	case <-time.After(40 * time.Second):
		_ = s.Signal(syscall.SIGQUIT) // so that the log shows where it hangs
		<-s.done
		return fmt.Errorf("did not end within 40 s of SIGTERM\n%s", s.Log())
	}
}

// Kill ends the server with SIGKILL and waits until it is gone.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	<-s.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// CleanEnv is the environment without the variables by which a client would
// trust something other than what the test says, or talk to another server.
func CleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		switch {
		case key == "SSL_CERT_FILE", key == "SSL_CERT_DIR", key == "CURL_CA_BUNDLE",
			key == "REQUESTS_CA_BUNDLE", key == "LEGO_CA_CERTIFICATES",
			strings.HasSuffix(strings.ToLower(key), "_proxy"), strings.HasPrefix(key, "CHANCERY_") && key != "CHANCERY_LONG":
		default:
			env = append(env, kv)
		}
	}
	return env
}

// log collects what a process writes, and lets others wait for a line.
type log struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{} // closed, and made again, when a line comes
}

func newLog() *log { return &log{more: make(chan struct{})} }

func (l *log) readFrom(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		l.mu.Lock()
		l.all.Write(line)
		close(l.more)
		l.more = make(chan struct{})
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// wait sends the first match, once there is one. What waits is given up with
// the process.
func (l *log) wait(re *regexp.Regexp) <-chan []string {
	found := make(chan []string, 1)
	go func() {
		for {
			l.mu.Lock()
			m, more := re.FindStringSubmatch(l.all.String()), l.more
			l.mu.Unlock()
			if m != nil {
				found <- m
				return
			}
			<-more
		}
	}()
	return found
}
