// What the load benchmark compares gapless with, and what it calls both with:
//
//	empty-webhook serve CERTIFICATE KEY
//	empty-webhook call [flags] URL
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	admission "k8s.io/api/admission/v1"
)

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		log.Fatal(serve(os.Args[2], os.Args[3]))
	case len(os.Args) > 2 && os.Args[1] == "call":
		if err := call(os.Args[2:]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("usage: empty-webhook serve CERTIFICATE KEY, or empty-webhook call [flags] URL")
	}
}

// serve is the least that a webhook in Go does: read the review into the types of
// Kubernetes, and allow what it asks about.
func serve(certificate, key string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("webhooks https://%s\n", listener.Addr())
	return http.ServeTLS(listener, http.HandlerFunc(allow), certificate, key)
}

func allow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review admission.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		http.Error(w, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	review.Response = &admission.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(review); err != nil {
		log.Print(err)
	}
}
