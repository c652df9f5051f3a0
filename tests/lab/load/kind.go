package load

import (
	"errors"
	"io"
	"net"
	"strconv"
	"syscall"
)

// Kind is how a request ended.
type Kind string

const (
	// Success is status 200 with the whole body.
	Success Kind = "success"
	// ConnectionRefused: nobody listens.
	ConnectionRefused Kind = "connection-refused"
	// ConnectTimeout: nobody answers to the attempt to connect.
	ConnectTimeout Kind = "connect-timeout"
	// ConnectionReset: the other side has thrown the connection away.
	ConnectionReset Kind = "connection-reset"
	// ClosedEarly: the connection ended before the answer did.
	ClosedEarly Kind = "closed-early"
	// ResponseTimeout: connected, but no complete answer in time.
	ResponseTimeout Kind = "response-timeout"
	// Unreachable: there is no way to the address.
	Unreachable Kind = "unreachable"
	// Other: anything else, such as an answer that is not HTTP.
	Other Kind = "other"
)

// statusKind is the kind of a complete answer that is not 200.
func statusKind(status int) Kind {
	return Kind("status-" + strconv.Itoa(status))
}

// connectKind is for errors before the connection is there.
func connectKind(err error) Kind {
	if isTimeout(err) {
		return ConnectTimeout
	}
	return connectionKind(err)
}

// exchangeKind is for errors on a connection.
func exchangeKind(err error) Kind {
	if isTimeout(err) {
		return ResponseTimeout
	}
	return connectionKind(err)
}

func connectionKind(err error) Kind {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused
	// EPIPE is what writing says after a reset.
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ConnectionReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ClosedEarly
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	default:
		return Other
	}
}

// isTimeout covers our own limit and the kernel's.
func isTimeout(err error) bool {
	var failed net.Error
	return errors.As(err, &failed) && failed.Timeout()
}
