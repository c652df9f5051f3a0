package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func pack(t *testing.T) []byte {
	t.Helper()
	directory := t.TempDir()
	program := filepath.Join(directory, "server")
	if err := os.WriteFile(program, []byte("not really a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "server.tar")
	image := Image{Name: "docker.io/library/server:1.0", Program: program, User: "1:2", Environment: []string{"A=b"}}
	if err := Pack(image, path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func read(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	contents := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func decode[T any](t *testing.T, text []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

func TestEachBlobIsNamedByItsContent(t *testing.T) {
	blobs := 0
	for name, content := range read(t, pack(t)) {
		if digest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			blobs++
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != digest {
				t.Errorf("%s has other content", name)
			}
		}
	}
	if blobs != 3 {
		t.Errorf("%d blobs, not layer, config and manifest", blobs)
	}
}

func TestTheIndexLeadsToTheProgram(t *testing.T) {
	contents := read(t, pack(t))
	blob := func(d descriptor) []byte {
		content := contents["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
		if len(content) != d.Size {
			t.Errorf("%s has %d bytes, not %d", d.Digest, len(content), d.Size)
		}
		return content
	}
	top := decode[index](t, contents["index.json"]).Manifests[0]
	if name := top.Annotations["io.containerd.image.name"]; name != "docker.io/library/server:1.0" {
		t.Errorf("name %q", name)
	}
	manifest := decode[manifest](t, blob(top))
	config := decode[config](t, blob(manifest.Config))
	if config.Config.Entrypoint[0] != "/server" || config.Config.User != "1:2" || config.Config.Env[0] != "A=b" {
		t.Errorf("config %+v", config)
	}
	if config.RootFS.DiffIDs[0] != manifest.Layers[0].Digest {
		t.Errorf("the layer is not compressed, so both digests are the same: %+v", config.RootFS)
	}
	layer := read(t, blob(manifest.Layers[0]))
	if string(layer["server"]) != "not really a program" {
		t.Errorf("layer %v", layer)
	}
}

func TestTheSameImageGivesTheSameBytes(t *testing.T) {
	if !bytes.Equal(pack(t), pack(t)) {
		t.Error("two archives differ")
	}
}

func TestANameWithoutATagIsRefused(t *testing.T) {
	err := Pack(Image{Name: "registry:5000/server"}, filepath.Join(t.TempDir(), "x"))
	if err == nil || !strings.Contains(err.Error(), "has no tag") {
		t.Errorf("%v", err)
	}
}
