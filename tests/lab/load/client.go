package load

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// firstPort is the first that needs no privilege.
const firstPort = 1024

// allPorts is how many source ports an address has.
const allPorts = 1<<16 - firstPort

var errPortsUsedUp = fmt.Errorf("all %d source ports of the address are used up", allPorts)

// Client sends single requests, each of them on a connection of its own.
type Client struct {
	source netip.Addr
	// used is how many source ports are, counted up from the first.
	used atomic.Int64
}

// NewClient makes a client whose source address nobody else connects from.
func NewClient(source netip.Addr) *Client {
	return &Client{source: source}
}

// Answer is what became of a request.
type Answer struct {
	Kind    Kind
	Version string
	Latency time.Duration
	// Fault is why this side could not even send the request; then the rest says
	// nothing about the other side.
	Fault error
}

// Get sends one request on a new connection and closes it.
func (c *Client) Get(target netip.AddrPort) Answer {
	start := time.Now()
	connection, answer := c.connect(target, start)
	if connection == nil {
		return answer
	}
	defer connection.Close()
	answer, _ = connection.get(start, "close")
	return answer
}

// connect uses the next source port. If there is no connection, the answer says
// why; start is that of the request which needs it.
func (c *Client) connect(target netip.AddrPort, start time.Time) (*connection, Answer) {
	port := c.used.Add(1) - 1 + firstPort
	if port >= 1<<16 {
		return nil, Answer{Fault: errPortsUsedUp}
	}
	dialer := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.source, uint16(port))),
		Deadline:  start.Add(timeout),
	}
	dialed, err := dialer.DialContext(context.Background(), "tcp", target.String())
	switch {
	case err == nil:
		return newConnection(dialed.(*net.TCPConn)), Answer{}
	case isOurFault(err):
		return nil, Answer{Fault: err}
	default:
		return nil, Answer{Kind: connectKind(err), Latency: time.Since(start)}
	}
}

// connection is an open one.
type connection struct {
	*net.TCPConn
	// reader has what was read from the connection but not used yet.
	reader *bufio.Reader
	// readError is why nothing more can be read.
	readError error
}

func newConnection(dialed *net.TCPConn) *connection {
	connection := &connection{TCPConn: dialed}
	connection.reader = bufio.NewReader(connection)
	return connection
}

// Read keeps the error: to package http, an answer whose headers end in the middle
// is only malformed.
func (c *connection) Read(buffer []byte) (int, error) {
	n, err := c.TCPConn.Read(buffer)
	c.readError = cmp.Or(c.readError, err)
	return n, err
}

// get sends one request and reads the whole answer. The second result is whether
// the connection may be used again.
func (c *connection) get(start time.Time, keep string) (Answer, bool) {
	kind, version, mayReuse := c.exchange(start, keep)
	return Answer{Kind: kind, Version: version, Latency: time.Since(start)}, mayReuse && kind == Success
}

func (c *connection) exchange(start time.Time, keep string) (kind Kind, version string, mayReuse bool) {
	if err := c.SetDeadline(start.Add(timeout)); err != nil {
		return exchangeKind(err), "", false
	}
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %v\r\nConnection: %s\r\n\r\n", c.RemoteAddr(), keep)
	if _, err := io.WriteString(c, request); err != nil {
		return exchangeKind(err), "", false
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return exchangeKind(cmp.Or(c.readError, err)), "", false
	}
	version = response.Header.Get("X-Version")
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return exchangeKind(err), version, false
	}
	if response.StatusCode != http.StatusOK {
		return statusKind(response.StatusCode), version, false
	}
	if response.ContentLength < 0 && len(response.TransferEncoding) == 0 {
		// It ends with the connection: nobody can tell whether that is all of it.
		return Other, version, false
	}
	return Success, version, !response.Close
}

// isOurFault is whether there was not even an attempt to connect: no socket, or no
// source address and port to be had. (A program that listens on a port of all
// addresses takes it from this one, too.)
func isOurFault(err error) bool {
	var failed *os.SyscallError
	isEarlier := errors.As(err, &failed) && failed.Syscall != "connect"
	return isEarlier || errors.Is(err, syscall.EADDRNOTAVAIL)
}
