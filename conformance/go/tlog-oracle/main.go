// Command tlog-oracle says what Go's transparency-log library thinks of our notes and proofs: one JSON question a line
// on stdin, one line "accept" or "reject: <why>" on stdout.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Op    string   `json:"op"`
	Note  string   `json:"note"`
	VKey  string   `json:"vkey"`
	Entry string   `json:"entry"` // base64
	Index int64    `json:"index"`
	Size  int64    `json:"size"`
	Root  string   `json:"root"` // base64
	Old   int64    `json:"old"`
	Was   string   `json:"was"` // base64, root of the old tree
	Proof []string `json:"proof"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := answer(q); err != nil {
			fmt.Fprintln(out, "reject:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Fprintln(out, "accept")
		}
	}
}

func answer(q question) error {
	switch q.Op {
	case "checkpoint":
		return checkpoint(q)
	case "inclusion":
		proof, root, err := hashes(q.Proof, q.Root)
		if err != nil {
			return err
		}
		entry, err := base64.StdEncoding.DecodeString(q.Entry)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(proof, q.Size, root, q.Index, tlog.RecordHash(entry))
	case "consistency":
		proof, root, err := hashes(q.Proof, q.Root)
		if err != nil {
			return err
		}
		was, err := tlog.ParseHash(q.Was)
		if err != nil {
			return err
		}
		return tlog.CheckTree(proof, q.Size, root, q.Old, was)
	}
	return fmt.Errorf("unknown op %q", q.Op)
}

func checkpoint(q question) error {
	verifier, err := note.NewVerifier(q.VKey)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(q.Note), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	// The checksum database's tree head is a checkpoint whose origin has this one fixed spelling.
	_, rest, _ := strings.Cut(opened.Text, "\n")
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + rest))
	if err != nil {
		return err
	}
	if tree.N != q.Size || tree.Hash.String() != q.Root {
		return fmt.Errorf("tree head is %d %s", tree.N, tree.Hash)
	}
	return nil
}

func hashes(proof []string, root string) ([]tlog.Hash, tlog.Hash, error) {
	list := []tlog.Hash{}
	for _, text := range proof {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return nil, tlog.Hash{}, err
		}
		list = append(list, hash)
	}
	hash, err := tlog.ParseHash(root)
	return list, hash, err
}
