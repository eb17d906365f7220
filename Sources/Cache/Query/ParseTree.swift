internal import CPgQuery

/// Reading PostgreSQL's raw parse tree from Swift: pointers with types, lists, strings.
///
/// Everything here is valid only inside the memory context in which the text was parsed; what
/// outlives it is copied. `String` is a struct of PostgreSQL in this module, Swift's is `Swift.String`.
typealias NodePointer = UnsafeMutablePointer<Node>

extension UnsafeMutablePointer where Pointee == Node {
    var tag: NodeTag { pointee.type }

    /// The caller has looked at the tag.
    func cast<T>(to type: T.Type) -> UnsafeMutablePointer<T> {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: type)
    }

    func cast<T>(to type: T.Type, if tag: NodeTag) -> UnsafeMutablePointer<T>? {
        self.tag == tag ? cast(to: type) : nil
    }

    /// The value of a String node.
    var stringValue: Swift.String? {
        guard let string = cast(to: CPgQuery.String.self, if: T_String) else { return nil }
        return treeText(string.pointee.sval)
    }

    /// A string constant's bytes, without their terminator.
    var stringConstant: UnsafeRawBufferPointer? {
        guard let constant = cast(to: A_Const.self, if: T_A_Const), !constant.pointee.isnull,
            constant.pointee.val.node.type == T_String, let bytes = constant.pointee.val.sval.sval
        else { return nil }
        var count = 0
        while bytes[count] != 0 { count += 1 }
        return UnsafeRawBufferPointer(start: bytes, count: count)
    }
}

func treeText(_ bytes: UnsafeMutablePointer<CChar>?) -> Swift.String? {
    bytes.map { Swift.String(cString: $0) }
}

func treeNode<T>(_ pointer: UnsafeMutablePointer<T>?) -> NodePointer? {
    pointer.map { UnsafeMutableRawPointer($0).assumingMemoryBound(to: Node.self) }
}

/// A PostgreSQL List of nodes; NIL is the empty one.
struct NodeList: RandomAccessCollection {
    let list: UnsafeMutablePointer<List>?

    init(_ list: UnsafeMutablePointer<List>?) { self.list = list }

    var startIndex: Int { 0 }
    var endIndex: Int { list.map { Int($0.pointee.length) } ?? 0 }

    /// nil where the list holds a null pointer, as for plain DISTINCT.
    subscript(position: Int) -> NodePointer? {
        guard let list, position >= 0, position < endIndex,
            let value = list.pointee.elements[position].ptr_value
        else { return nil }
        return value.assumingMemoryBound(to: Node.self)
    }

    /// The members of a list of String nodes; nil when there is another node among them.
    var names: [Swift.String]? {
        var names: [Swift.String] = []
        for element in self {
            guard let name = element?.stringValue else { return nil }
            names.append(name)
        }
        return names
    }
}
