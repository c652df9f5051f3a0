// Package image packs one static program as a container image: an archive in the
// OCI image layout, made from scratch, without a container engine.
//
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Image is what goes into the archive.
type Image struct {
	// Name is the whole reference, such as docker.io/library/gapless:0.1.0.
	Name string
	// Program is the file that becomes the only one of the image, and its entrypoint.
	Program string
	// User is a numeric user and group, such as 65532:65532.
	User string
	// Environment has lines NAME=VALUE.
	Environment []string
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type config struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		User       string   `json:"User,omitempty"`
		Env        []string `json:"Env,omitempty"`
		Entrypoint []string `json:"Entrypoint"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// Pack writes the archive to a file. The same image gives the same bytes.
func Pack(image Image, path string) error {
	if !strings.Contains(filepath.Base(image.Name), ":") {
		return fmt.Errorf("the image name %q has no tag: write NAME:TAG", image.Name)
	}
	program, err := os.ReadFile(image.Program)
	if err != nil {
		return err
	}
	entrypoint := "/" + filepath.Base(image.Program)

	var layout files
	layer := layout.addBlob(layerType, archive(files{{strings.TrimPrefix(entrypoint, "/"), 0o755, program}}))

	var about config
	about.Architecture, about.OS = runtime.GOARCH, "linux"
	about.Config.User, about.Config.Env, about.Config.Entrypoint = image.User, image.Environment, []string{entrypoint}
	about.RootFS.Type, about.RootFS.DiffIDs = "layers", []string{layer.Digest}

	whole := layout.addBlob(manifestType, encode(manifest{
		SchemaVersion: 2,
		MediaType:     manifestType,
		Config:        layout.addBlob(configType, encode(about)),
		Layers:        []descriptor{layer},
	}))
	// What containerd names the image when it imports the archive.
	whole.Annotations = map[string]string{"io.containerd.image.name": image.Name}
	layout.add("index.json", encode(index{SchemaVersion: 2, Manifests: []descriptor{whole}}))
	layout.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))

	// Beside it and then renamed: whoever reads the old one keeps it.
	fresh := path + ".new"
	if err := os.WriteFile(fresh, archive(layout), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

type file struct {
	name    string
	mode    int64
	content []byte
}

type files []file

func (f *files) add(name string, content []byte) {
	*f = append(*f, file{name, 0o644, content})
}

func (f *files) addBlob(mediaType string, content []byte) descriptor {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	f.add("blobs/sha256/"+digest, content)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(content)}
}

// archive makes a tar file without times and owners.
func archive(files files) []byte {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, file := range files {
		// Writing into memory fails for no reason but a wrong size, and it is right.
		_ = writer.WriteHeader(&tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(file.content)), Format: tar.FormatUSTAR})
		_, _ = io.Copy(writer, bytes.NewReader(file.content))
	}
	_ = writer.Close()
	return buffer.Bytes()
}

func encode(value any) []byte {
	// Structs of strings and numbers can always be encoded.
	text, _ := json.Marshal(value)
	return text
}
