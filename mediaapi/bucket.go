package mediaapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// putTime bounds how long a file may take to get into a bucket: until its row is
// written nothing may think that it is unused.
const putTime = evictedAge - time.Minute

// maxAttempts is how often the bucket is asked for the same before its failure counts: somebody waits.
const maxAttempts = 4

// Bucket says where files are kept that aren't kept on the disk: in an S3-compatible
// object storage.
type Bucket struct {
	// Endpoint is its host and port.
	Endpoint, Region, Name, AccessKey, SecretKey string
	// Prefix stands before the names of the files.
	Prefix string
	// PlainHTTP asks without TLS.
	PlainHTTP bool
}

// bucket keeps files in an object storage, under their hashes.
type bucket struct {
	client *minio.Client
	name   string
	prefix string
}

// newBucket makes sure that the bucket is there.
func newBucket(ctx context.Context, b *Bucket) (*bucket, error) {
	client, err := minio.New(b.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(b.AccessKey, b.SecretKey, ""), Secure: !b.PlainHTTP, Region: b.Region,
		MaxRetries: maxAttempts,
	})
	if err != nil {
		return nil, fmt.Errorf("the bucket for media: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	found, err := client.BucketExists(ctx, b.Name)
	if err != nil {
		return nil, fmt.Errorf("asking %s for the bucket %s for media: %w", b.Endpoint, b.Name, err)
	}
	if !found {
		return nil, fmt.Errorf("there is no bucket %s for media at %s", b.Name, b.Endpoint)
	}
	return &bucket{client, b.Name, b.Prefix}, nil
}

func (b *bucket) key(h fileHash) string { return b.prefix + h.String() }

func (b *bucket) put(ctx context.Context, f *received) error {
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	// TLS protects what is sent, and the name says what it must be: it isn't signed once more.
	_, err := b.client.FPutObject(ctx, b.name, b.key(f.hash), f.path, minio.PutObjectOptions{
		ContentType: unknownType, NumThreads: 1, DisableContentSha256: true})
	if err != nil {
		return fmt.Errorf("putting a file into the bucket: %w", err)
	}
	f.discard()
	return nil
}

// open returns a file whose parts are fetched as they are read, while ctx lasts.
func (b *bucket) open(ctx context.Context, h fileHash) (io.ReadSeekCloser, error) {
	object, err := b.client.GetObject(ctx, b.name, b.key(h), minio.GetObjectOptions{})
	if err == nil {
		if _, err = object.Stat(); err != nil {
			object.Close()
		}
	}
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("opening a file of the bucket: %w", os.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a file of the bucket: %w", err)
	}
	return object, nil
}

func (b *bucket) remove(ctx context.Context, h fileHash) error {
	if err := b.client.RemoveObject(ctx, b.name, b.key(h), minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("deleting a file of the bucket: %w", err)
	}
	return nil
}

// sweep ends what puts began longer than age ago that a crash cut off: parts of large files, which
// no list of files shows.
func (b *bucket) sweep(ctx context.Context, age time.Duration) error {
	ctx, cancel := context.WithCancel(ctx) // also ends the list
	defer cancel()
	for part := range b.client.ListIncompleteUploads(ctx, b.name, b.prefix, true) {
		if minio.ToErrorResponse(part.Err).StatusCode == http.StatusNotFound {
			return nil // how some say that there are none
		}
		if part.Err != nil {
			return fmt.Errorf("listing unfinished files of the bucket: %w", part.Err)
		}
		if time.Since(part.Initiated) < age {
			continue
		}
		core := minio.Core{Client: b.client}
		if err := core.AbortMultipartUpload(ctx, b.name, part.Key, part.UploadID); err != nil {
			return fmt.Errorf("deleting an unfinished file of the bucket: %w", err)
		}
	}
	return nil
}
