// The SDK asks for Node 22 because of Promise.withResolvers alone; Debian's
// Node is 20. Imported before the SDK.
Promise.withResolvers ??= function () {
    let resolve, reject;
    const promise = new this((res, rej) => {
        resolve = res;
        reject = rej;
    });
    return { promise, resolve, reject };
};
