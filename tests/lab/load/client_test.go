package load

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// usedSources counts the addresses of the loopback that tests connect from.
var usedSources atomic.Uint32

// source is an address that no other test connects from. The process's number
// keeps tests apart that run one after the other.
func source() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(100 + os.Getpid()>>8%100), byte(os.Getpid()), byte(usedSources.Add(1))})
}

// serve passes each connection to the function.
func serve(t *testing.T, connected func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go connected(connection.(*net.TCPConn))
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// serveHTTP is a server that works.
func serveHTTP(t *testing.T, handler http.HandlerFunc) netip.AddrPort {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.CloseClientConnections)
	return netip.MustParseAddrPort(server.Listener.Addr().String())
}

func hello(response http.ResponseWriter, _ *http.Request) {
	response.Header().Set("X-Version", "v1.0")
	io.WriteString(response, "hello")
}

// answerAfterRequest reads a request and writes these bytes.
func answerAfterRequest(text string) func(*net.TCPConn) {
	return func(connection *net.TCPConn) {
		defer connection.Close()
		_, _ = connection.Read(make([]byte, 1024))
		_, _ = io.WriteString(connection, text)
	}
}

func TestEachKind(t *testing.T) {
	nobody := netip.MustParseAddrPort("127.0.0.1:1")
	cases := map[string]struct {
		target func(t *testing.T) netip.AddrPort
		kind   Kind
	}{
		"a complete answer": {func(t *testing.T) netip.AddrPort { return serveHTTP(t, hello) }, Success},
		"nobody listens":    {func(*testing.T) netip.AddrPort { return nobody }, ConnectionRefused},
		"nobody accepts":    {full, ConnectTimeout},
		"a reset": {func(t *testing.T) netip.AddrPort {
			return serve(t, func(connection *net.TCPConn) {
				_, _ = connection.Read(make([]byte, 1024))
				_ = connection.SetLinger(0)
				connection.Close()
			})
		}, ConnectionReset},
		"an end before the answer": {func(t *testing.T) netip.AddrPort {
			return serve(t, answerAfterRequest(""))
		}, ClosedEarly},
		"an end within the headers": {func(t *testing.T) netip.AddrPort {
			return serve(t, answerAfterRequest("HTTP/1.1 200 OK\r\nContent-Le"))
		}, ClosedEarly},
		"an end within the body": {func(t *testing.T) netip.AddrPort {
			return serve(t, answerAfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"))
		}, ClosedEarly},
		"an end within a chunked body": {func(t *testing.T) netip.AddrPort {
			return serve(t, answerAfterRequest("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
		}, ClosedEarly},
		"a body of unknown length": {func(t *testing.T) netip.AddrPort {
			return serve(t, answerAfterRequest("HTTP/1.1 200 OK\r\n\r\nhello"))
		}, Other},
		"another protocol": {func(t *testing.T) netip.AddrPort {
			return serve(t, answerAfterRequest("220 ESMTP\r\n"))
		}, Other},
		"no answer": {func(t *testing.T) netip.AddrPort {
			return serve(t, func(connection *net.TCPConn) { time.Sleep(2 * timeout) })
		}, ResponseTimeout},
		"half an answer": {func(t *testing.T) netip.AddrPort {
			return serve(t, func(connection *net.TCPConn) {
				_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
				time.Sleep(2 * timeout)
			})
		}, ResponseTimeout},
		"status 503": {func(t *testing.T) netip.AddrPort {
			return serveHTTP(t, func(response http.ResponseWriter, _ *http.Request) { response.WriteHeader(503) })
		}, "status-503"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := NewClient(source()).Get(test.target(t))
			if answer.Kind != test.kind || answer.Fault != nil {
				t.Errorf("it is %+v", answer)
			}
			if answer.Latency > timeout+500*time.Millisecond {
				t.Errorf("it took %v", answer.Latency)
			}
		})
	}
}

// full is a listener whose queue has no more room: Linux drops what comes then.
func full(t *testing.T) netip.AddrPort {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 2 {
		connection, err := net.DialTimeout("tcp", address.String(), 100*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { connection.Close() })
		}
	}
	return address
}

// From an address of the loopback the kernel finds no way to any other.
func TestErrorsThatTheLoopbackCannotShow(t *testing.T) {
	wrap := func(call string, number syscall.Errno) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError(call, number)}
	}
	for number, kind := range map[syscall.Errno]Kind{
		syscall.EHOSTUNREACH: Unreachable,
		syscall.ENETUNREACH:  Unreachable,
		syscall.ETIMEDOUT:    ConnectTimeout,
		syscall.EPERM:        Other,
	} {
		if err := wrap("connect", number); connectKind(err) != kind || isOurFault(err) {
			t.Errorf("%v is %v, our fault: %v", number, connectKind(err), isOurFault(err))
		}
	}
	for _, err := range []error{
		wrap("socket", syscall.EMFILE), wrap("bind", syscall.EADDRINUSE), wrap("bind", syscall.EACCES),
		wrap("connect", syscall.EADDRNOTAVAIL),
	} {
		if !isOurFault(err) {
			t.Errorf("%v is not our fault", err)
		}
	}
	if kind := exchangeKind(wrap("write", syscall.EPIPE)); kind != ConnectionReset {
		t.Errorf("a broken pipe is %v", kind)
	}
}

func TestVersionIsWhatTheAnswerSays(t *testing.T) {
	answer := NewClient(source()).Get(serveHTTP(t, hello))
	if answer.Version != "v1.0" {
		t.Errorf("the version is %q", answer.Version)
	}
}

func TestSourcePortsAreCountedUpAndNeverUsedAgain(t *testing.T) {
	var mutex sync.Mutex
	var seen []string
	target := serveHTTP(t, func(response http.ResponseWriter, request *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		seen = append(seen, request.RemoteAddr)
		hello(response, request)
	})
	client := NewClient(source())
	for range 5 {
		if answer := client.Get(target); answer.Kind != Success {
			t.Fatalf("%+v", answer)
		}
	}
	for n, address := range seen {
		if expected := fmt.Sprintf("%v:%d", client.source, 1024+n); address != expected {
			t.Errorf("the source is %v instead of %v", address, expected)
		}
	}

	client.used.Store(allPorts - 1)
	if answer := client.Get(target); answer.Fault != nil {
		t.Errorf("the last port is not used: %v", answer.Fault)
	}
	for range 2 {
		if answer := client.Get(target); answer.Fault != errPortsUsedUp {
			t.Errorf("after the last port comes %+v", answer)
		}
	}
}
